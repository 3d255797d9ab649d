// The build: one chunk per page, so that a phone never loads the desk's or the board's libraries.
import { fileURLToPath } from "node:url";
import vue from "@vitejs/plugin-vue";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const api = process.env.KAITUAN_API ?? "http://127.0.0.1:8080";

/** Vant's icon font comes inside its style; the second source, on another host, is left out. */
const ownFontsOnly: Plugin = {
  name: "own-fonts-only",
  enforce: "pre",
  transform(code, id) {
    if (!/vant\/es\/icon\/index\.css/.test(id)) return undefined;
    return code.replace(/,\s*url\(\/\/[^)]*\)\s*format\("woff"\)/g, "");
  },
};

export default defineConfig({
  plugins: [ownFontsOnly, vue()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: { target: "es2022", sourcemap: false, chunkSizeWarningLimit: 700 },
  server: { host: "127.0.0.1", proxy: { "/v1": api } },
  preview: { host: "127.0.0.1", proxy: { "/v1": api } },
  test: { environment: "node", include: ["tests/**/*.test.ts"] },
});
