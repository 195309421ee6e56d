// The two menus of narrow windows by keyboard: buttons in place of labels, and Escape closes what is open.
for (const button of document.querySelectorAll("button[data-menu]")) {
  const menu = document.getElementById(button.dataset.menu);
  const tell = () => button.setAttribute("aria-expanded", menu.checked);
  button.addEventListener("click", () => menu.click());
  menu.addEventListener("change", tell);
  document.addEventListener("keydown", event => {
    if (event.key === "Escape" && menu.checked) {
      menu.click();
      if (button.offsetParent) button.focus();
    }
  });
  tell();
}
