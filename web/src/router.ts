/** The pages, each its own chunk. `meta.title` is a key of the catalogue. */
import { watch } from "vue";
import { createRouter, createWebHistory, type RouteLocationNormalized } from "vue-router";
import { locale, t, type Key } from "./i18n";

declare module "vue-router" {
  interface RouteMeta {
    title?: Key;
  }
}

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    {
      path: "/",
      name: "landing",
      component: () => import("./landing/Landing.vue"),
      meta: { title: "title.landing" },
    },
    {
      path: "/r/:roomId",
      name: "room",
      component: () => import("./room/Room.vue"),
      props: true,
      meta: { title: "title.room" },
    },
    {
      path: "/t/:teamId",
      name: "team",
      component: () => import("./team/TeamPage.vue"),
      props: true,
      meta: { title: "title.team" },
    },
    {
      path: "/t",
      name: "teams",
      component: () => import("./team/MyTeams.vue"),
      meta: { title: "title.teams" },
    },
    {
      path: "/o",
      name: "orders",
      component: () => import("./room/MyOrders.vue"),
      meta: { title: "title.orders" },
    },
    {
      path: "/desk",
      name: "desk",
      component: () => import("./desk/Desk.vue"),
      meta: { title: "title.desk" },
    },
    {
      path: "/hq",
      name: "hq",
      component: () => import("./board/Board.vue"),
      meta: { title: "title.board" },
    },
    { path: "/:rest(.*)*", redirect: "/" },
  ],
});

const title = (to: RouteLocationNormalized): void => {
  document.title = to.meta.title ? t(to.meta.title) : "Kaituan 开团";
};
router.afterEach(title);
watch(locale, () => title(router.currentRoute.value));
