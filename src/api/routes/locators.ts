/** `/v1/locators`: reachability of the locators in use, as RLOC-probing sees it. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import type { RouteOptions } from '../context.js'
import { asJson, errorResponses, LocatorStateView } from '../views.js'

export const locatorRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (
  app,
  { context },
  done,
) => {
  app.get(
    '/v1/locators',
    {
      schema: {
        summary: 'Locators and their reachability',
        tags: ['tables'],
        response: {
          200: Type.Object({ locators: Type.Array(LocatorStateView) }),
          ...errorResponses,
        },
      },
    },
    () => ({ locators: context.node.snapshot().locators.map(asJson) }),
  )
  done()
}
