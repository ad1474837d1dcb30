// All texts of the page.
// @ts-check

export const T = {
  title: "Octabox",
  screens: { create: "Create", queue: "Queue", gallery: "Gallery", models: "Models", adapters: "Adapters", grid: "Grid", system: "System" },
  groups: { prompt: "Prompt", media: "Inputs", size: "Size", sampling: "Sampling", other: "More" },
  tasks: (/** @type {string} */ task) => (task.charAt(0).toUpperCase() + task.slice(1)).replaceAll("-", " "),
  skip: "Skip to content",
  create: {
    model: "Model", task: "Task", estimate: (/** @type {string} */ size, /** @type {string} */ fits) => `It is not in memory yet: about ${size}${fits ? `, ${fits}` : ""}.`, make: "Generate", add: "Add to queue", cancel: "Cancel", seed: "Seed", random: "at random",
    newSeed: "New seed", keepSeed: "Keep the last seed", outputs: "Outputs", scheduler: "Scheduler", schedulerOwn: (/** @type {string} */ name) => (name ? `${name.replace(/Scheduler$/, "")} (the model's)` : "the model's own"), schedulerSettings: "Scheduler settings", schedulerRare: "Rarely changed",
    schedulerUnknown: (/** @type {string} */ name) => `The scheduler ${name} does not fit this model; its own is used.`, insertWord: "Insert into the prompt",
    parameters: "Parameters", advanced: "Advanced parameters", workflow: "Workflow", adapters: "Adapters",
    syntax: "Prompt syntax", syntaxDefault: "the model's", copyAs: "Copy as", copied: "Copied.", noImageModel: "No model of this server takes an image as its input.", otherModel: (/** @type {string} */ one, /** @type {string} */ other) => `${one} takes no image, so ${other} is chosen.`, noMask: "There is no mask to paint with this model: it changes the whole image.", notCopied: "This browser does not let the page copy.", styles: "Styles", style: "style", wildcard: "Wildcard", insert: "Insert", format: "Format", formatDefault: "the best lossless", input: "Input", noText: "(no text)",
    tokens: (/** @type {string} */ name, /** @type {number} */ count, /** @type {number | null} */ top) => `${name}: ${count}${top === null ? "" : ` of ${top}`} tokens`,
    result: "Result", empty: "The result appears here.", tryOne: "Try one of these:", swap: "Swap width and height",
    loading: "Reading the model's parameters …", gone: (/** @type {string} */ name) => `${name} is not in the list of models any more.`,
    restored: (/** @type {string} */ what, /** @type {string[]} */ unused) => `Parameters restored from ${what}.${unused.length ? ` Not used: ${unused.join(", ")}.` : ""}`, notUsed: (/** @type {string[]} */ names) => `Not used: ${names.join(", ")}.`, also: (/** @type {string[]} */ names) => `Sent as well: ${names.join(", ")}.`, leaveOut: "Leave out",
    oneEachLine: "One a line.", chooseAgain: "Set this again: the page does not have what was sent.", unfitAdapters: (/** @type {string[]} */ names) => `Left out, since it does not fit this model: ${names.join(", ")}.`,
    setSource: "Set the folder, file or Hub id of the model in place of its name.", notConfigured: (/** @type {string[]} */ names) => `A configuration does not have ${names.join(", ")}.`,
    required: "Required.", notNumber: "Not a number.", notJson: "Not valid JSON.",
    warnings: "Warnings", again: "Use all parameters", usePrompt: "Use prompt", useSeed: "Use seed", asImage: "Use as input image",
    asMask: "Inpaint", download: "Download", weightHint: "Ctrl+Up and Ctrl+Down change the weight of the word at the cursor.",
    seconds: (/** @type {number} */ s) => `${s < 10 ? s.toFixed(1) : Math.round(s)} s`,
  },
  phases: {
    queued: "Queued", downloading: "Downloading", loading: "Loading the model", compiling: "Compiling", running: "Step", decoding: "Decoding",
    encoding: "Saving", sending: "Sending", completed: "Done", failed: "Failed", cancelled: "Cancelled", in_progress: "Running",
  },
  media: {
    drop: (/** @type {string} */ kind) => `Drop ${kind === "image" || kind === "audio" ? "an" : "a"} ${kind} here, or choose a file`,
    unreadable: (/** @type {string} */ name) => `${name || "This file"} cannot be read.`, notShown: "This browser cannot show the image.",
    otherSite: "The page takes nothing from other sites: save the file, and choose it here.",
    remove: "Remove", paint: "Paint the mask", size: "Use its size",
  },
  mask: {
    title: "Paint what is to change", brush: "Brush", eraser: "Eraser", size: "Size", hardness: "Hardness", undo: "Undo", redo: "Redo",
    invert: "Invert", clear: "Clear", zoom: "Zoom", done: "Use mask", cancel: "Cancel", keys: "[ and ] change the size, E switches to the eraser, Ctrl and the wheel or two fingers zoom.",
  },
  mesh: {
    keys: "Drag or use the arrow keys to turn, the wheel or + and - to zoom.", unreadable: "This mesh cannot be shown.", noWebGl: "This browser has no WebGL, which shows meshes.",
    size: (/** @type {number} */ vertices, /** @type {number} */ triangles) => `${vertices} vertices, ${triangles} triangles`,
  },
  outpaint: {
    title: "Drag the edges outwards", sides: { left: "Left edge", top: "Upper edge", right: "Right edge", bottom: "Lower edge" },
    size: (/** @type {number} */ width, /** @type {number} */ height) => `${width} × ${height} pixels`,
  },
  queue: {
    empty: "Nothing waits.", finished: "Finished", clear: "Clear finished", cancel: "Cancel", retry: "Retry", edit: "Edit", up: "Sooner", down: "Later",
    pause: "Pause the queue", resume: "Resume the queue", paused: "The queue is paused.",
  },
  gallery: {
    empty: "Nothing has been made yet.", loading: "Reading what was made …", nothingFound: "Nothing was found.", search: "Search prompts, models and parameters", star: "Star", unstar: "Remove star", starred: "Starred only",
    delete: "Delete", undo: "Undo", deleted: (/** @type {number} */ n) => `${n} deleted.`, selected: (/** @type {number} */ n) => `${n} selected`, selection: "What is selected",
    all: "Select all", none: "Select none", addTags: "Add tags", add: "Add", previous: "Previous", next: "Next",
    kinds: { audio: "Audio", mesh: "Mesh", text: "Text", array: "Array" },
    compare: "Compare", tags: "Tags", close: "Close", count: (/** @type {number} */ n) => `${n} ${n === 1 ? "output" : "outputs"}`,
  },
  models: {
    name: "Name", tasks: "Tasks", pipeline: "Pipeline", state: "State", memory: "Memory", load: "Load", unload: "Unload", use: "Use",
    states: { ready: "in memory", loading: "loading", busy: "running", sleeping: "sleeping" }, pin: "Pin", pinHint: "Never unload it for another model", pinned: "pinned", problems: "Problems of configurations",
    leaves: (/** @type {number} */ s) => `for ${s < 90 ? `${Math.round(s)} s` : `${Math.round(s / 60)} min`} more`, about: (/** @type {string} */ size) => `about ${size}`, none: "not loaded", waiting: (/** @type {number} */ n) => `${n} waiting`,
    searchOwn: "Search names, tasks and pipelines", count: (/** @type {number} */ n) => `${n} ${n === 1 ? "model" : "models"}`,
    search: "Search the Hub", searchButton: "Search", pull: "Download", what: "Kind", nothingFound: "Nothing was found.", cached: "On the disk", incomplete: "incomplete",
    remove: (/** @type {string} */ name, /** @type {string} */ size) => `Delete ${name} (${size}) from the disk?`, hubOff: "The Hub is not available on this server.", results: "Models of the Hub", gated: "gated",
    fits: { yes: "fits into memory", offloaded: "fits with offloading", no: "does not fit into memory" }, bytes: "Size", downloads: "Downloads", likes: "Likes", updated: "Updated", licence: "Licence", tryAgain: "Try again",
    gatedHint: "Accept the terms on that page with the Hub account of this server. A server without one is logged in by its administrator: `octabox login`, or HF_TOKEN.",
  },
  adapters: {
    empty: "There are no LoRAs or embeddings in the models folder.", search: "Search", lora: "LoRA", embedding: "Embedding", words: "Words:", unfit: "Does not fit:",
    rank: (/** @type {number} */ n) => `rank ${n}`, vectors: (/** @type {number} */ n) => `${n} ${n === 1 ? "vector" : "vectors"}`,
    previews: "An image beside a file, such as style.preview.png beside style.safetensors, is its preview.",
  },
  grid: {
    x: "Columns", y: "Rows", z: "Pages", none: "nothing", words: "words in the prompt", model: "model (checkpoint)", lora: (/** @type {string} */ name) => `weight of ${name}`, values: "Values, separated by commas or |", make: "Generate grid",
    count: (/** @type {number} */ n) => `${n} ${n === 1 ? "output" : "outputs"}`, save: "Save as one image", tooLarge: "This browser cannot draw so large an image.", tooMany: (/** @type {number} */ n) => `At most ${n} outputs are made in one grid.`,
    noValues: (/** @type {string} */ axis) => `${axis}: set the values, such as 1, 2, 4 or 1..5.`, problems: (/** @type {string[]} */ names) => `No grid is made: in Create, correct ${names.join(", ")}.`,
    hint: "Columns, rows and pages each vary one parameter of the form in Create. Values may be a range: 1..5, or 0..1 step 0.25.", stop: "Stop",
    notInPrompt: (/** @type {string} */ words) => `The first value, "${words}", is not in the prompt, so that the others cannot replace it.`,
    gone: "The server does not keep this output any more.",
  },
  system: {
    server: "Server", models: "Memory by model", metrics: "Metrics", key: "API key", save: "Save", keyHint: "This browser sends it with each request.",
    benchmark: "Benchmark", run: "Run benchmark", size: "Batch", rate: "Iterations per second", seconds: "Seconds", benchmarkHint: "Ten steps of a model, with several outputs.",
    benchmarkNeeds: (/** @type {string[]} */ names) => `The benchmark makes outputs without files, and this model needs ${names.join(", ")}.`,
    none: "No model is in memory.", states: { ready: "is ready", starting: "is starting", stopping: "is stopping", failed: "could not load a model" },
    machine: "Machine", machineIs: (/** @type {string} */ system, /** @type {number} */ cores) => `${system}, ${cores} ${cores === 1 ? "core" : "cores"}`, memory: "Memory", accelerator: "Accelerator", free: (/** @type {string} */ size) => `${size} free`, notInstalled: "not installed",
    settings: "Settings", setting: "Setting", value: "Value", source: "Set by", searchSettings: "Search settings", changedOnly: "Only what is set",
    log: "Log", searchLog: "Search the log", level: "Level", noLines: "No lines.",
  },
  login: { title: "API key", text: "This server requires an API key.", submit: "Sign in", label: "Key" },
  keys: {
    title: "Keyboard", close: "Close",
    rows: [
      ["Ctrl+Enter", "generate, or add to the queue"], ["Esc", "cancel what runs"], ["Ctrl+Up, Ctrl+Down", "weight of the word at the cursor"],
      ["Alt+Up, Alt+Down", "earlier and later prompts"], ["[ and ]", "size of the brush"], ["Ctrl+Z", "undo in the painter, and a deletion in the gallery"], ["Ctrl+Shift+Z", "redo in the painter"], ["Left, Right", "earlier and later outputs in the gallery"], ["?", "this list"],
    ],
  },
  errors: {
    unreachable: "The server cannot be reached.", status: (/** @type {number} */ status) => `The server answered with status ${status}.`,
  },
  connection: { lost: "The server cannot be reached; trying again …" },
};
