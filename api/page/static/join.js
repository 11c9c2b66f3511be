// Takes the code of an invitation out of the address, where no server sees it, into the form. It outlives a reload.
const field = /** @type {HTMLInputElement|null} */ (document.getElementById("code"));
const code = location.hash.slice(1) || (history.state && history.state.code);
if (field && code) {
  field.value = code;
  field.readOnly = true;
  history.replaceState({ code }, "", location.pathname);
}
export {};
