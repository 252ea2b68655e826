/** `/v1/subscriptions`: who is told of changes by this Map-Server, and what this xTR is told of. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import type { RouteOptions } from '../context.js'
import { pageBeside, pageFields, pageOfViews, SelectionQuery } from '../selection.js'
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
      const page = pageOfViews(context.node.snapshot().subscriptions, query)
      return { ...pageBeside(page), subscriptions: page.entries.map(asJson) }
    },
  )
  done()
}
