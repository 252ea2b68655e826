/** `/v1/why`: what would happen to a packet to an EID here now, and why. Reads; asks nobody. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import type { NodeSnapshot } from '../../control/snapshot.js'
import { type Eid, formatEid } from '../../lisp/eid.js'
import type { ApiContext, RouteOptions } from '../context.js'
import { entryOf } from '../move-entry.js'
import { readEid } from '../selection.js'
import { asJson, errorResponses } from '../views.js'
import { explain } from '../why.js'
import { isOfGroup } from '../why-groups.js'
import { type WhyAnswer, WhyView } from '../why-views.js'
import { withCounters } from './map-cache.js'

export const whyRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (app, { context }, done) => {
  app.get(
    '/v1/why',
    {
      schema: {
        summary: 'What would happen to a packet to this EID now, and why',
        tags: ['queries'],
        querystring: Type.Object(
          {
            eid: Type.String({ description: 'The destination, as 10.1.0.5 or [7]10.1.0.5' }),
            from: Type.Optional(Type.String({ description: 'The source; same instance-ID' })),
            instanceId: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffff })),
          },
          { additionalProperties: false },
        ),
        response: { 200: WhyView, ...errorResponses },
      },
    },
    ({ query }): WhyAnswer => {
      const eid = readEid(query.eid, query.instanceId, 'query.eid')
      const from =
        query.from === undefined
          ? undefined
          : readEid(query.from, query.instanceId ?? eid.instanceId, 'query.from')
      const { config, datapath } = context
      const entries = datapath?.inspect?.(eid)
      const snapshot = snapshotAround(context, [eid, from])
      const { mapResolvers } = config
      const logged = context.events.latest(ALL_EVENTS)
      const found = explain({
        eid,
        from,
        snapshot,
        findings: entries,
        mapResolvers,
        events: logged,
      })
      const { local, mapCache, verdict, registrations, locators } = found
      const hold = datapath?.counters().hold
      return asJson({
        node: config.node,
        roles: [...snapshot.roles],
        rlocs: config.rlocs.map(({ address }) => address),
        eid: formatEid(eid),
        ...(from === undefined ? {} : { from: formatEid(from) }),
        verdict,
        // First what may explain everything else.
        remarks: [...context.problems(), ...found.remarks],
        ...(local === undefined ? {} : { local: withCounters(context, 'local-eid', [local])[0]! }),
        ...(mapCache === undefined
          ? {}
          : { mapCache: withCounters(context, 'map-cache', [mapCache])[0]! }),
        registrations: [...registrations],
        locators: [...locators],
        ...(hold === undefined
          ? {}
          : {
              datapath: {
                entries: [...(entries ?? [])],
                held: { packets: hold.packets, bytes: hold.bytes },
              },
            }),
        moves: found.moves.map((move) => entryOf(move, Date.now())),
        events: found.events.map(({ at, event }) => ({ at: at.toISOString(), ...event })),
      })
    },
  )
  done()
}

/** The whole backlog; what does not concern the EID is left out. */
const ALL_EVENTS = 1000

/** What the node says around these EIDs: of large tables only their longest matches. */
function snapshotAround({ node }: ApiContext, eids: readonly (Eid | undefined)[]): NodeSnapshot {
  const { sites, locators, moves, roles, groups, node: name } = node.snapshot()
  const queries = eids.flatMap((eid) => (eid === undefined ? [] : [{ eid, limit: 1 }]))
  return {
    ...{ node: name, roles, sites, locators, moves, referrals: [], subscriptions: [] },
    groups: groups.filter((one) => eids.some((eid) => eid !== undefined && isOfGroup(one, eid))),
    ...{ pimLinks: [], listeners: [], segments: [] },
    mapCache: queries.flatMap((query) => node.tables.mapCache(query).entries),
    mappingDatabase: queries.flatMap((query) => node.tables.mappingDatabase(query).entries),
    registrations: queries.flatMap((query) => node.tables.registrations(query).entries),
  }
}
