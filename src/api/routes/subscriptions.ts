/** `/v1/subscriptions`: who is told of changes by this Map-Server, and what this xTR is told of. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { RouteOptions } from '../context.js'
import { pageFields, SelectionQuery, selectEntries } from '../selection.js'
import { asJson, errorResponses, SubscriptionView } from '../views.js'

export const subscriptionRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (
  app,
  { context },
  done,
) => {
  app.get(
    '/v1/subscriptions',
    {
      schema: {
        summary: 'Subscriptions to mappings (RFC 9437)',
        tags: ['tables'],
        querystring: SelectionQuery,
        response: {
          200: Type.Object({ ...pageFields, subscriptions: Type.Array(SubscriptionView) }),
          ...errorResponses,
        },
      },
    },
    ({ query }) => {
      const { snapshot, ageMs } = context.tables.read()
      const { entries, ...page } = selectEntries({ table: snapshot.subscriptions, ageMs }, query)
      return { ...page, subscriptions: entries.map(asJson) }
    },
  )
  done()
}
