// OpenAI's client: an image, an edit and a stream. It prints what came as JSON.
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: `${process.env.BASE}/v1`, apiKey: "none", maxRetries: 0 });
const model = "gpt-image-1";
const prompt = "a star";
const options = { num_inference_steps: 2, seed: 1 };

const made = await client.images.generate({ model, prompt, ...options });
const content = Buffer.from(made.data[0].b64_json, "base64");
const edited = await client.images.edit({
  model,
  prompt,
  image: await toFile(content, "image.png", { type: "image/png" }),
  num_inference_steps: 4,
});
const events = [];
for await (const event of await client.images.generate({ model, prompt, stream: true, partial_images: 1, ...options })) {
  events.push(event.type);
}
const refusal = await client.images.generate({ model: "nothere", prompt }).catch((error) => error);

console.log(
  JSON.stringify({
    generated: content.subarray(1, 4).toString(),
    edited: Buffer.from(edited.data[0].b64_json, "base64").subarray(1, 4).toString(),
    events,
    refusal: [refusal.constructor.name, refusal.status, refusal.code],
  }),
);
