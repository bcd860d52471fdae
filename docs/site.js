// Opened from a disk the search cannot work, so it is not offered there.
if (location.protocol === "file:") document.documentElement.classList.add("from-disk");
