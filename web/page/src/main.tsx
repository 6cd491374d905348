/** Start of the page. */

import { render } from "preact";

import { App } from "./app.js";
import { dressDocument } from "./appearance.js";
import { followLocation } from "./routes.js";
import { connect, halt } from "./service/connection.js";
import { followKept } from "./service/keeping.js";
import { followAlarms } from "./service/problem.js";

dressDocument();
followLocation();
followAlarms(halt);
void connect();
void followKept();

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
root.replaceChildren();
render(<App />, root);
