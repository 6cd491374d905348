/** A link that names nothing. */

import type { JSX } from "preact";

import { t } from "../language.js";
import { Heading, Notice } from "../parts/basics.js";

export function LostView(): JSX.Element {
  return (
    <div class="view view-narrow">
      <Heading>{t("lost.title")}</Heading>
      <Notice
        tone="caution"
        title={t("lost.what")}
        actions={
          <a class="button button-plain" href="#/">
            {t("lost.home")}
          </a>
        }
      >
        <p>{t("lost.text")}</p>
      </Notice>
    </div>
  );
}
