// Write what the code needs of the JSON files here as a module: bundlers then find it too.
import { readFileSync, writeFileSync } from "node:fs";

const here = new URL("..", import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(name, here), "utf8"));
const lines = [
  `export const VERSION = ${JSON.stringify(read("package.json").version)};`,
  `export const SERVICE_CONFIG = ${JSON.stringify(JSON.stringify(read("service_config.json")))};`,
];
writeFileSync(new URL("src/gen/constants.ts", here), `${lines.join("\n")}\n`);
