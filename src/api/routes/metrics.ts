/** `/metrics`: the Prometheus exposition. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from '../../config/schema-builder.js'
import type { RouteOptions } from '../context.js'

export const metricRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (app, options, done) => {
  const { metrics } = options.context
  app.get(
    '/metrics',
    {
      schema: {
        summary: 'Prometheus metrics',
        tags: ['node'],
        response: { 200: { content: { 'text/plain': { schema: Type.String() } } } },
      },
    },
    async (_, reply) => {
      const { text, contentType } = await metrics.render()
      return reply.type(contentType).send(text)
    },
  )
  done()
}
