// Takes the code of an invitation out of the address, where no server sees it, into the form.
const code = /** @type {HTMLInputElement|null} */ (document.getElementById("code"));
if (code && location.hash.length > 1) {
  code.value = location.hash.slice(1);
  code.readOnly = true;
  history.replaceState(null, "", location.pathname);
}
export {};
