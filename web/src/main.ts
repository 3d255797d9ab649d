/** The app's start: tokens, router, one root. Nothing is loaded from another host. */
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/parts.css";
import { createApp } from "vue";
import App from "./App.vue";
import { router } from "./router";

createApp(App).use(router).mount("#app");
