/**
 * `/v1/multicast/groups`: groups with listeners here, lists that are followed, receivers registered.
 * `/v1/multicast/listeners`: what hosts of our segments report by IGMP and MLD, and who asks them.
 * `/v1/multicast/routers`: PIM neighbours of our links.
 */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import type { GroupView } from '../../control/multicast/group-views.js'
import type { ApiContext, RouteOptions } from '../context.js'
import {
  asJson,
  errorResponses,
  ListenerView,
  MulticastGroupView,
  PimLinkView,
  SegmentView,
} from '../views.js'

const MAXIMUM_PAGE = 1000

/** Joined with what the datapath has counted: packets that found the entry, not copies. */
function withGroupCounters(context: ApiContext, groups: readonly GroupView[]) {
  const counted = context.datapath?.groupCounters?.(groups.map(({ group }) => group)) ?? []
  const byName = new Map(counted.map((one) => [one.group, one]))
  return groups.map((view) => {
    const found = byName.get(view.group)
    if (found === undefined || view.side === 'map-server') return view
    const idle = found.idleMs === undefined ? {} : { idleMs: found.idleMs }
    const counters = { packets: Number(found.packets), bytes: Number(found.bytes), ...idle }
    return { ...view, counters }
  })
}

export const multicastRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (
  app,
  { context },
  done,
) => {
  app.get(
    '/v1/multicast/groups',
    {
      schema: {
        summary: 'Multicast groups (RFC 8378)',
        tags: ['tables'],
        querystring: Type.Object({
          instanceId: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffff })),
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAXIMUM_PAGE })),
          after: Type.Optional(Type.String({ description: 'A group: continue behind it' })),
        }),
        response: {
          200: Type.Object({
            total: Type.Integer(),
            next: Type.Optional(Type.String({ description: 'Where to continue, as `after`' })),
            groups: Type.Array(MulticastGroupView),
          }),
          ...errorResponses,
        },
      },
    },
    ({ query }) => {
      const { instanceId, limit = MAXIMUM_PAGE, after = '' } = query
      const all = context.node
        .snapshot()
        .groups.filter((one) => instanceId === undefined || one.instanceId === instanceId)
        .sort((a, b) => (a.group < b.group ? -1 : a.group > b.group ? 1 : 0))
      const rest = all.filter(({ group }) => group > after)
      const groups = rest.slice(0, limit)
      const last = groups.at(-1)
      const next = rest.length > groups.length && last !== undefined ? { next: last.group } : {}
      return { total: all.length, ...next, groups: withGroupCounters(context, groups).map(asJson) }
    },
  )
  app.get(
    '/v1/multicast/listeners',
    {
      schema: {
        summary: 'Listeners of the site interfaces (IGMP, MLD), and their queriers',
        tags: ['tables'],
        querystring: Type.Object({
          interfaceName: Type.Optional(Type.String()),
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAXIMUM_PAGE })),
          after: Type.Optional(Type.String({ description: 'Continue behind it' })),
        }),
        response: {
          200: Type.Object({
            total: Type.Integer(),
            next: Type.Optional(Type.String({ description: 'Where to continue, as `after`' })),
            segments: Type.Array(SegmentView),
            listeners: Type.Array(ListenerView),
          }),
          ...errorResponses,
        },
      },
    },
    ({ query }) => {
      const { interfaceName, limit = MAXIMUM_PAGE, after = '' } = query
      const snapshot = context.node.snapshot()
      const isWanted = (one: { interfaceName: string }): boolean =>
        interfaceName === undefined || one.interfaceName === interfaceName
      const keyOf = (one: { interfaceName: string; group: string }): string =>
        `${one.interfaceName} ${one.group}`
      const all = snapshot.listeners
        .filter(isWanted)
        .map((one) => ({ key: keyOf(one), one }))
        .sort((a, b) => (a.key < b.key ? -1 : 1))
      const rest = all.filter(({ key }) => key > after)
      const page = rest.slice(0, limit)
      const last = page.at(-1)
      const next = rest.length > page.length && last !== undefined ? { next: last.key } : {}
      const segments = snapshot.segments.filter(isWanted).map(asJson)
      return { total: all.length, ...next, segments, listeners: page.map(({ one }) => asJson(one)) }
    },
  )
  app.get(
    '/v1/multicast/routers',
    {
      schema: {
        summary: 'Links where PIM is spoken, and the routers there (RFC 7761)',
        tags: ['tables'],
        response: { 200: Type.Object({ links: Type.Array(PimLinkView) }), ...errorResponses },
      },
    },
    () => ({ links: context.node.snapshot().pimLinks.map(asJson) }),
  )
  done()
}
