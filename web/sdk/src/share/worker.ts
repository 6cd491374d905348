/** The other side of `upload.ts`. */

import { Control } from "./control.js";
import { type Order, type Report, toFailure } from "./orders.js";
import { sealAndSend } from "./sealing.js";

const control = new Control();
const report = (message: Report): void => postMessage(message);

addEventListener("message", ({ data }: MessageEvent<Order>) => {
  switch (data.type) {
    case "start":
      sealAndSend(data.job, control, (sealed, arrived) => report({ type: "progress", sealed, arrived })).then(
        (place) => report({ type: "done", place }),
        (error: unknown) => report({ type: "failed", failure: toFailure(error) }),
      );
      return;
    case "pause":
      control.pause();
      return;
    case "resume":
      control.resume();
      return;
    case "cancel":
      control.cancel();
      return;
  }
});
