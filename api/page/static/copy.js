// Gives each text that is shown only now a button that copies it. Without this module the text can be selected as always.
for (const each of document.querySelectorAll("input[data-copy]")) {
  const text = /** @type {HTMLInputElement} */ (each), button = document.createElement("button");
  button.type = "button";
  button.className = "button second";
  button.textContent = text.dataset.copy || "";
  button.setAttribute("aria-live", "polite");
  text.addEventListener("focus", () => text.select());
  button.addEventListener("click", async () => {
    text.select();
    // The clipboard is there on https and on this machine alone; elsewhere the older way does it.
    const isDone = await navigator.clipboard?.writeText(text.value).then(() => true, () => false) || document.execCommand("copy");
    if (isDone) button.textContent = text.dataset.copied || "";
  });
  text.after(button);
}
export {};
