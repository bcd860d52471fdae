// Opened from a disk the search cannot work, so it is not offered there.
if (location.protocol === "file:") document.documentElement.classList.add("from-disk");
// A browser breaks a line at the hyphens of an option, as in "--" and "json"; one after a blank is enough.
for (const code of document.querySelectorAll("article :not(pre) > code")) {
  if (code.childElementCount || !code.textContent.includes("-")) continue;
  code.replaceChildren(...code.textContent.split(/(\s+)/).map((word) => {
    if (!word.includes("-") || word.length > 32) return word;
    return Object.assign(document.createElement("span"), { className: "whole", textContent: word });
  }));
}
