/** `/v1/registrations`: what the Map-Server holds. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import type { RouteOptions } from '../context.js'
import { pageBeside, pageFields, readQuery, SelectionQuery } from '../selection.js'
import { asJson, errorResponses, RegistrationView } from '../views.js'

export const registrationRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (
  app,
  { context },
  done,
) => {
  app.get(
    '/v1/registrations',
    {
      schema: {
        summary: 'Registrations of the Map-Server',
        tags: ['tables'],
        querystring: SelectionQuery,
        response: {
          200: Type.Object({ ...pageFields, registrations: Type.Array(RegistrationView) }),
          ...errorResponses,
        },
      },
    },
    ({ query }) => {
      const page = context.node.tables.registrations(readQuery(query))
      return { ...pageBeside(page), registrations: page.entries.map(asJson) }
    },
  )
  done()
}
