// A service that trades with the types that openapi-typescript makes: an order, the same again, the market, an error.
// Usage: node trade.js URL KEY ACCOUNT MARKET. Prints what it has seen as JSON.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };
const [url, key, account, market] = process.argv.slice(2) as [string, string, string, string];
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });

const body: components["schemas"]["PlaceOrderBody"] = {
  account,
  market_id: market,
  outcome: "Yes",
  side: "buy",
  type: "market",
  quantity: "5",
  client_order_id: "from-typescript",
};
const { data: order, error: refused } = await client.POST("/v1/orders", { body });
if (order === undefined || !("order_id" in order)) throw new Error(JSON.stringify(refused ?? order));
const again = await client.POST("/v1/orders", { body });

const read = await client.GET("/v1/markets/{market}", {
  params: { path: { market }, query: { min_position: order.position } },
});
if (read.data === undefined) throw new Error(JSON.stringify(read.error));
const volume: string = read.data.data.volume;

const missing = await client.GET("/v1/markets/{market}", { params: { path: { market: "nothing-like-it" } } });
const code: string | undefined = missing.error?.code;

// @ts-expect-error  a side that the API does not have
const wrong: components["schemas"]["PlaceOrderBody"] = { ...body, side: "hold" };
const rejected = await client.POST("/v1/orders", { body: wrong });

console.log(JSON.stringify({ order, again: again.data, volume, code, rejected: rejected.error?.code }));
