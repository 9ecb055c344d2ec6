/** Starts the page, or says that the browser is too old: one that has modules, but not what this page needs. */
const able = "at" in Array.prototype ? import("/page.js") : Promise.reject(new Error("the browser is too old"));

able.catch((error) => {
  console.error(error);
  return import("/old.js");
});
