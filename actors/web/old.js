/* Tells the owner of an old browser why there is no page. Written so that any browser can read it. */
document.getElementById("old").hidden = false;
