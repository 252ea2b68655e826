/** `/v1/described-eids`: the names and places that the Map-Server holds. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import type { RouteOptions } from '../context.js'
import { MAXIMUM_LIMIT, pageBeside } from '../selection.js'
import { asJson, DescribedEidView, errorResponses } from '../views.js'

const DescribedSelection = Type.Object(
  {
    instanceId: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffff })),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAXIMUM_LIMIT,
        default: MAXIMUM_LIMIT,
        description: 'At most so many EIDs; total says how many there are',
      }),
    ),
    after: Type.Optional(Type.String({ description: '`next` of the page before' })),
  },
  { additionalProperties: false },
)

export const describedEidRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (
  app,
  { context },
  done,
) => {
  app.get(
    '/v1/described-eids',
    {
      schema: {
        summary: 'Names and places registered at the Map-Server (RFC 9735, RFC 10040)',
        tags: ['tables'],
        querystring: DescribedSelection,
        response: {
          200: Type.Object({
            total: Type.Integer({ description: 'EIDs that fit the query, on all pages' }),
            next: Type.Optional(Type.String({ description: 'Absent on the last page' })),
            describedEids: Type.Array(DescribedEidView),
          }),
          ...errorResponses,
        },
      },
    },
    ({ query: { limit = MAXIMUM_LIMIT, after, instanceId } }) => {
      const page = context.node.tables.describedEids({ limit, after, instanceId })
      return { ...pageBeside(page), describedEids: page.entries.map(asJson) }
    },
  )
  done()
}
