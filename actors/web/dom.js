/** Elements: to find, make and write them, so that what has not changed is not touched. */

export const byId = (id) => document.getElementById(id);

/** Make an element; strings among its children become text nodes, never markup. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * One view for each item, in the order of the items; a view lives as long as its item.
 *
 * A view that stays where it is is not moved, because an element that is moved loses the focus.
 * @param {HTMLElement} parent
 * @param {Map<string | number, {element: HTMLElement, update: (item: any, ...more: any[]) => void}>} views
 * @param {{key: string | number}[]} items
 * @param {(item: any) => {element: HTMLElement, update: (item: any, ...more: any[]) => void}} make
 */
export function drawEach(parent, views, items, make, ...more) {
  const present = new Set(items.map((item) => item.key));
  for (const [key, view] of views) if (!present.has(key)) forget(views, key, view);
  for (const [index, item] of items.entries()) {
    if (!views.has(item.key)) views.set(item.key, make(item));
    const view = views.get(item.key);
    if (parent.children[index] !== view.element) parent.insertBefore(view.element, parent.children[index] ?? null);
    view.update(item, ...more);
  }
}

function forget(views, key, view) {
  view.element.remove();
  views.delete(key);
}
