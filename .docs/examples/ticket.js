import { connect } from "./actors.js";

const token = async () => (await fetch("/tickets", { method: "POST" })).text();
const session = connect("wss://live.chat.example/ws", { token });
