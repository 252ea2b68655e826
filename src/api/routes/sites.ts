/** `/v1/sites`: who may register what, and how many registrations each site has. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import type { RouteOptions } from '../context.js'
import { asJson, errorResponses, SiteView } from '../views.js'

export const siteRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (app, { context }, done) => {
  app.get(
    '/v1/sites',
    {
      schema: {
        summary: 'Sites of the Map-Server',
        tags: ['tables'],
        response: { 200: Type.Object({ sites: Type.Array(SiteView) }), ...errorResponses },
      },
    },
    () => ({ sites: context.node.snapshot().sites.map(asJson) }),
  )
  done()
}
