// Puts together what the browser loads, in assets/dist: our own files and the two libraries as they were published.
// Nothing is compiled, so what is served can be read.
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "assets", "dist");
const libraries = {
  "htmx.min.js": "htmx.org/dist/htmx.min.js",
  "uplot.js": "uplot/dist/uPlot.iife.min.js",
  "uplot.css": "uplot/dist/uPlot.min.css",
};

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
for (const name of await readdir(join(here, "src"))) {
  await copyFile(join(here, "src", name), join(dist, name));
}
for (const [name, from] of Object.entries(libraries)) {
  await copyFile(join(here, "node_modules", from), join(dist, name));
}
console.log((await readdir(dist)).sort().join(" "));
