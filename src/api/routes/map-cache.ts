/** `/v1/map-cache`: what the ITR has learned, with the datapath's counters per mapping. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import type { MappingCounter } from '../../datapath/datapath.js'
import { type ApiContext, type RouteOptions, runCommand } from '../context.js'
import { pageBeside, pageFields, readEidPrefix, readQuery, SelectionQuery } from '../selection.js'
import { asJson, errorResponses, MapCacheEntry } from '../views.js'

export const mapCacheRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (app, options, done) => {
  const { context } = options
  app.get(
    '/v1/map-cache',
    {
      schema: {
        summary: 'Learned mappings',
        tags: ['tables'],
        querystring: SelectionQuery,
        response: {
          200: Type.Object({ ...pageFields, mapCache: Type.Array(MapCacheEntry) }),
          ...errorResponses,
        },
      },
    },
    ({ query }) => {
      const page = context.node.tables.mapCache(readQuery(query))
      return {
        ...pageBeside(page),
        mapCache: withCounters(context, 'map-cache', page.entries).map(asJson),
      }
    },
  )
  app.delete(
    '/v1/map-cache',
    {
      schema: {
        summary: 'Forget all learned mappings; they are asked for again when needed',
        tags: ['tables'],
        response: { 204: Type.Null(), ...errorResponses },
      },
    },
    async (_, reply) => {
      await runCommand(context, { kind: 'clear-map-cache', eidPrefix: undefined })
      return reply.code(204).send(null)
    },
  )
  app.delete(
    '/v1/map-cache/:prefix',
    {
      schema: {
        summary: 'Forget one learned mapping',
        tags: ['tables'],
        params: Type.Object({
          prefix: Type.String({ description: 'Percent-encoded, as 10.1.0.0%2F16' }),
        }),
        querystring: Type.Object({ instanceId: Type.Optional(Type.Integer({ minimum: 0 })) }),
        response: { 204: Type.Null(), ...errorResponses },
      },
    },
    async ({ params, query }, reply) => {
      const eidPrefix = readEidPrefix(params.prefix, query.instanceId, 'path.prefix')
      await runCommand(context, { kind: 'clear-map-cache', eidPrefix })
      return reply.code(204).send(null)
    },
  )
  done()
}

/** Entries joined with their datapath counters; bigints become numbers (exact up to 2^53). */
export function withCounters<T extends { eidPrefix: string; instanceId: number }>(
  context: ApiContext,
  table: MappingCounter['table'],
  entries: readonly T[],
): (T & { counters?: { packets: number; bytes: number; idleMs?: number } })[] {
  if (context.datapath === undefined || entries.length === 0) return [...entries]
  const eidPrefixes = entries.map(({ eidPrefix }) => eidPrefix)
  const counters = new Map<string, MappingCounter>()
  for (const counter of context.datapath.mappingCounters({ table, eidPrefixes })) {
    if (counter.table === table) counters.set(counter.eidPrefix, counter)
  }
  return entries.map((entry) => {
    // Both sides write canonical text.
    const counter = counters.get(entry.eidPrefix)
    if (counter === undefined) return entry
    const idle = counter.idleMs === undefined ? {} : { idleMs: counter.idleMs }
    const packets = Number(counter.packets)
    return { ...entry, counters: { packets, bytes: Number(counter.bytes), ...idle } }
  })
}
