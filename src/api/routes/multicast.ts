/** `/v1/multicast/groups`: groups with listeners here, lists that are followed, receivers registered. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import type { RouteOptions } from '../context.js'
import { asJson, errorResponses, MulticastGroupView } from '../views.js'

const MAXIMUM_PAGE = 1000

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
      return { total: all.length, ...next, groups: groups.map(asJson) }
    },
  )
  done()
}
