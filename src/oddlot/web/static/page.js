// What a page does by itself: it keeps itself new, and answers keys. Without it all still works.
import { startKeys } from "./keys.js";
import { startFeed } from "./feed.js";

if (document.body.dataset.page !== "locked") {
  startFeed();
}
startKeys();
