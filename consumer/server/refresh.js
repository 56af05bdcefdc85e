"use strict";
{
  // Takes the new page's content over, so that nothing flickers and the page stays where it was scrolled to.
  const note = document.getElementById("stale");
  const shown = (words) => { note.textContent = words; note.hidden = words === ""; };
  let since = Date.now();
  const look = async () => {
    if (document.hidden) return;
    if (!getSelection().isCollapsed) return shown("Not refreshed while text is selected.");
    try {
      const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(EVERY) });
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (page.querySelector("style").textContent !== document.querySelector("style").textContent) location.reload();
      document.title = page.title;
      document.querySelector("link[rel=icon]").href = page.querySelector("link[rel=icon]").href;
      document.querySelector("main").replaceWith(page.querySelector("main"));
      since = Date.now();
      shown("");
    } catch {
      const age = Math.round((Date.now() - since) / 1000);
      shown(`The instance has not answered for ${age} s: what is shown below is as old.`);
    }
  };
  const again = async () => { await look(); setTimeout(again, EVERY); };
  setTimeout(again, EVERY);
  document.addEventListener("visibilitychange", look);
}
