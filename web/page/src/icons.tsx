/** Small line icons, drawn for this page on a grid of 20. They decorate: the words beside them say the same. */

import type { ComponentChildren, JSX } from "preact";

type Icon = () => JSX.Element;

const draw = (lines: ComponentChildren): Icon => {
  const Drawn: Icon = () => (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {lines}
    </svg>
  );
  return Drawn;
};

export const Send = draw(<path d="M10 13.5V3.5M6 7.2l4-4 4 4M3.5 12.5v3a1 1 0 0 0 1 1h11a1 1 0 0 0 1-1v-3" />);
export const Download = draw(<path d="M10 3.5v10M6 9.8l4 4 4-4M3.5 13.5v2a1 1 0 0 0 1 1h11a1 1 0 0 0 1-1v-2" />);
export const Inbox = draw(<path d="M3.5 11.5 5.6 4.6a1 1 0 0 1 1-.8h6.8a1 1 0 0 1 1 .8l2.1 6.9v4a1 1 0 0 1-1 1h-11a1 1 0 0 1-1-1zM3.5 11.5H7a3 3 0 0 0 6 0h3.5" />);
export const List = draw(<path d="M7.5 5.5h9M7.5 10h9M7.5 14.5h9M3.8 5.5h.2M3.8 10h.2M3.8 14.5h.2" />);
export const Folder = draw(<path d="M3 6a1.5 1.5 0 0 1 1.5-1.5h3L9.3 6.5h6.2A1.5 1.5 0 0 1 17 8v6.5a1.5 1.5 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 3 14.5z" />);
export const Plus = draw(<path d="M10 4.5v11M4.5 10h11" />);
export const Cross = draw(<path d="m5.5 5.5 9 9M14.5 5.5l-9 9" />);
export const Tick = draw(<path d="m4.5 10.5 3.8 3.8 7.2-8.3" />);
export const Copy = draw(<path d="M7.5 7.5v-3a1 1 0 0 1 1-1h7a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-3M4.5 7.5h7a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-7a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1z" />);
export const Share = draw(<path d="M10 12.5V3M6.8 5.8 10 2.8l3.2 3M6 9H4.8v8h10.4V9H14" />);
export const Pause = draw(<path d="M7.5 5v10M12.5 5v10" />);
export const Play = draw(<path d="M7 4.8v10.4l8-5.2z" />);
export const Key = draw(<path d="M9.6 10.4 16.5 3.5M13.8 6.2l2 2M7 17a3.7 3.7 0 1 1 0-7.4A3.7 3.7 0 0 1 7 17z" />);
export const People = draw(<path d="M7.2 9.5a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6zM2.5 16.2c.3-2.6 2.1-4.2 4.7-4.2s4.4 1.6 4.7 4.2M13 4.2a2.7 2.7 0 0 1 0 5.1M14.2 12.3c1.8.5 3 1.9 3.3 3.9" />);
export const Letter = draw(<path d="M3 5.5h14v9H3zM3 6l7 5 7-5" />);
export const Person = draw(<path d="M10 9.8a3.1 3.1 0 1 0 0-6.2 3.1 3.1 0 0 0 0 6.2zM4 16.8c.4-3 2.8-4.7 6-4.7s5.6 1.7 6 4.7" />);
export const Clock = draw(<path d="M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM10 6.2V10l2.6 1.8" />);
export const Eye = draw(<path d="M2.5 10S5 5 10 5s7.5 5 7.5 5-2.5 5-7.5 5-7.5-5-7.5-5zM10 12.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4z" />);
export const Shield = draw(<path d="M10 2.8 4 5v4.6c0 3.7 2.5 6.4 6 7.6 3.5-1.2 6-3.9 6-7.6V5zM7.3 9.9l2 2 3.5-3.9" />);
export const Warning = draw(<path d="M10 3.2 2.8 16h14.4zM10 8.2v3.6M10 13.9v.2" />);
export const Stop = draw(<path d="M7.1 2.8h5.8l4.3 4.3v5.8l-4.3 4.3H7.1l-4.3-4.3V7.1zM10 6.5v4.2M10 13.3v.2" />);
export const Info = draw(<path d="M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM10 9.2v4.2M10 6.7v.2" />);
export const Offline = draw(<path d="M3 3l14 14M5.2 9.3a7.6 7.6 0 0 1 2.6-1.6M2.6 6.6a11 11 0 0 1 2.8-1.8M9 4a11 11 0 0 1 8.4 2.6M11.8 7.7a7.6 7.6 0 0 1 3 1.6M7.6 12a3.6 3.6 0 0 1 3.4-.9M10 15.2v.1" />);
export const Arrow = draw(<path d="M4 10h12M11.5 5.5 16 10l-4.5 4.5" />);
export const Back = draw(<path d="M16 10H4M8.5 5.5 4 10l4.5 4.5" />);
export const More = draw(<path d="m5.5 8 4.5 4.5L14.5 8" />);
export const Sun = draw(<path d="M10 13.2a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4zM10 2.5v1.6M10 15.9v1.6M2.5 10h1.6M15.9 10h1.6M4.7 4.7l1.1 1.1M14.2 14.2l1.1 1.1M4.7 15.3l1.1-1.1M14.2 5.8l1.1-1.1" />);
export const Moon = draw(<path d="M16.5 11.8A7 7 0 0 1 8.2 3.5a7 7 0 1 0 8.3 8.3z" />);
export const Flag = draw(<path d="M5 17.5v-14M5 4.3c3.5-1.8 6 1.6 10 0v7.4c-4 1.6-6.5-1.8-10 0" />);

const SHEET = "M5 3.5A1 1 0 0 1 6 2.5h5.5L15 6v10.5a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1z";
export const Paper = draw(<path d={`${SHEET}M11.3 2.7v3.5h3.5`} />);
export const TextPaper = draw(<path d={`${SHEET}M7.5 9.5h5M7.5 12h5M7.5 14.5h3`} />);
export const Picture = draw(<path d="M3 5a1 1 0 0 1 1-1h12a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1zM3.2 13.6l3.7-3.7 3.4 3.4 2.2-2.1 4.3 4.2M12.8 7.6h.1" />);
export const Archive = draw(<path d="M3 4.5h14v3H3zM4 7.5v8a1 1 0 0 0 1 1h10a1 1 0 0 0 1-1v-8M8 10.5h4" />);

/** The mark: the door of a strongroom, its dial turned to open. */
export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect class="mark-door" x="2" y="2" width="28" height="28" rx="9" />
      <circle class="mark-line" cx="16" cy="16" r="7.25" />
      <path class="mark-line" d="M16 16l5.1-5.1M6 12.5v7" />
    </svg>
  );
}

/** The icon for a file, by its media type. */
export function iconFor(type: string): Icon {
  if (type.startsWith("image/")) return Picture;
  if (type.startsWith("text/") || type === "application/pdf" || type === "application/json") return TextPaper;
  if (/zip|tar|compressed|7z|rar/.test(type)) return Archive;
  return Paper;
}
