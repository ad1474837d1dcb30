// Vercel's AI SDK: an image and an edit of it. It prints what came as JSON.
import { createOpenAI } from "@ai-sdk/openai";
import { generateImage } from "ai";

const openai = createOpenAI({ baseURL: `${process.env.BASE}/v1`, apiKey: "none" });
const model = openai.image("gpt-image-1");

const { images, warnings } = await generateImage({ model, prompt: "a star", size: "128x128" });
const edited = await generateImage({ model, prompt: { text: "a red star", images: [images[0].uint8Array] } });
const refusal = await generateImage({ model: openai.image("nothere"), prompt: "a star", maxRetries: 0 }).catch((error) => error);

console.log(
  JSON.stringify({
    generated: images.map((image) => image.mediaType),
    edited: edited.images.map((image) => image.mediaType),
    warnings,
    refusal: [refusal.name, refusal.statusCode, refusal.message],
  }),
);
