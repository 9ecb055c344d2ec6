/** Starts the page. A browser that knows modules, but not what this page needs, is told so. */
const able = "at" in Array.prototype ? import("/page.js") : Promise.reject(new Error("the browser is too old"));

able.catch((error) => {
  console.error(error);
  return import("/old.js");
});
