export * from "./protocol/blobs.js";
export * from "./protocol/bytes.js";
export { type Kind, decode, encode } from "./protocol/codec.js";
export * from "./protocol/errors.js";
export * from "./protocol/evidence.js";
export * from "./protocol/instructions.js";
export * from "./protocol/json.js";
export * from "./protocol/limits.js";
export * as messages from "./protocol/messages.js";
