// On the site: each picture of an explorable makes way for it once it comes near the window.

async function wake(el) {
  try {
    const values = JSON.parse(el.dataset.values), {default: widget} = await import(`./${el.dataset.explorable}.js`);
    if (values.file) values.file = new URL(values.file, import.meta.url).href;
    widget.render({model: {get: () => values}, el});
  } catch (error) {
    el.insertAdjacentHTML("beforeend", '<p role="alert"></p>');
    el.lastChild.textContent = `This can't be touched now (${error.message}). The picture shows how it begins.`;
  }
}

const eye = new IntersectionObserver(entries => entries.filter(o => o.isIntersecting).forEach(({target}) => {
  eye.unobserve(target);
  wake(target);
}), {rootMargin: "600px"});
document.querySelectorAll("[data-explorable]").forEach(el => eye.observe(el));
