// Writes src/protocol/messages.ts from spec/messages.json: node generate.mjs

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const SPEC = fileURLToPath(new URL("../../spec/messages.json", import.meta.url));
const TARGET = fileURLToPath(new URL("src/protocol/messages.ts", import.meta.url));
const HEAD = `/**
 * Every message type, made by generate.mjs from spec/messages.json. What fields mean stands in spec/messages.md.
 *
 * Of each there are the type and, under the same name, the kind that \`codec.ts\` reads and writes it by. Names of
 * fields are those of the wire. The types of the enclaves' own talk stand here too: the vectors hold them.
 */
`;
const FUNCTIONS = ["bool", "bytes", "either", "int", "list", "map", "nil", "oneOf", "optional", "text"];
const WIDTH = 120;

/** A type of this name would hide a class of JavaScript's own. */
const nameOf = (name) => (name === "Error" ? "ErrorReply" : name);

const limit = (max) => (max === null ? "Infinity" : Number(max) > Number.MAX_SAFE_INTEGER ? "2 ** 63" : String(Number(max)));

function typeOf(kind) {
  switch (kind.is) {
    case "bytes": return "Bytes";
    case "text": return "string";
    case "int": return "number";
    case "bool": return "boolean";
    case "nil": return "null";
    case "one of": return kind.values.map((value) => JSON.stringify(value)).join(" | ");
    case "list": return `readonly ${/[ |]/.test(typeOf(kind.of)) ? `(${typeOf(kind.of)})` : typeOf(kind.of)}[]`;
    case "map": return nameOf(kind.type);
    case "either": return kind.of.map(typeOf).sort((a, b) => (a === "null") - (b === "null")).join(" | ");
  }
  throw new Error(`a type that is not known here: ${kind.is}`);
}

function kindOf(kind) {
  switch (kind.is) {
    case "bytes": return kind.min === kind.max ? `bytes(${kind.min})` : `bytes(${kind.min}, ${limit(kind.max)})`;
    case "text":
    case "int": return `${kind.is}(${kind.min}, ${limit(kind.max)})`;
    case "bool":
    case "nil": return kind.is;
    case "one of": return `oneOf(${kind.values.map((value) => JSON.stringify(value)).join(", ")})`;
    case "list": return `list(${kindOf(kind.of)}, ${kind.min}, ${limit(kind.max)})`;
    case "map": return nameOf(kind.type);
    case "either": {
      const others = kind.of.filter((one) => one.is !== "nil").map(kindOf);
      const one = others.length === 1 ? others[0] : `either<unknown>(${others.join(", ")})`;
      return others.length < kind.of.length ? `optional(${one})` : one;
    }
  }
  throw new Error(`a type that is not known here: ${kind.is}`);
}

/** Names of the types within a kind. */
function within(kind) {
  if (kind.is === "map") return [kind.type];
  return [kind.of ?? []].flat().flatMap(within);
}

/** A type stands behind those that it is made of. */
function inOrder(types) {
  const done = new Set();
  const place = (name) => {
    if (done.has(name)) return;
    types[name].fields.flatMap(([, kind]) => within(kind)).forEach(place);
    done.add(name);
  };
  Object.keys(types).forEach(place);
  return [...done];
}

function typeText(name, { tag, fields }) {
  const shown = nameOf(name);
  const tagged = tag ? [`  readonly ${tag[0]}: ${JSON.stringify(tag[1])};`] : [];
  const typed = fields.map(([field, kind]) => `  readonly ${field}: ${typeOf(kind)};`);
  const start = `export const ${shown}: Kind<${shown}> = map(${tag ? `[${tag.map((one) => JSON.stringify(one)).join(", ")}]` : "null"}, [`;
  const parts = fields.map(([field, kind]) => `[${JSON.stringify(field)}, ${kindOf(kind)}]`);
  const short = `${start}${parts.join(", ")}]);`;
  const made = short.length <= WIDTH ? short : `${start}\n${parts.map((part) => `  ${part},\n`).join("")}]);`;
  return [`export interface ${shown} {`, ...tagged, ...typed, "}", made].join("\n");
}

function unionText(name, members) {
  const shown = members.map(nameOf);
  const type = `export type ${name} = ${shown.join(" | ")};`;
  const kind = `export const ${name}: Kind<${name}> = either<${name}>(${shown.join(", ")});`;
  const wrapped = type.length <= WIDTH ? type : `export type ${name} =\n${shown.map((one) => `  | ${one}`).join("\n")};`;
  const made = kind.length <= WIDTH ? kind : `export const ${name}: Kind<${name}> = either<${name}>(\n${shown.map((one) => `  ${one},\n`).join("")});`;
  return `${wrapped}\n${made}`;
}

/** The whole file, as it should be. */
export function messagesText(schema = JSON.parse(readFileSync(SPEC, "utf8"))) {
  const parts = [
    ...inOrder(schema.types).map((name) => typeText(name, schema.types[name])),
    ...Object.entries(schema.unions).map(([name, members]) => unionText(name, members)),
  ];
  const used = FUNCTIONS.filter((one) => new RegExp(`\\b${one}\\b[(<,\\]]`).test(parts.join("\n")));
  const imports = `import type { Bytes } from "./bytes.js";\nimport { type Kind, ${used.join(", ")} } from "./kinds.js";\n`;
  return `${HEAD}\n${imports}\n${parts.join("\n\n")}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(TARGET, messagesText());
