/** `/v1/health` and `/v1/node`: is it alive, what is it, what has its datapath done. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import type { RouteOptions } from '../context.js'
import { readHealth, uptimeSeconds } from '../health.js'
import { asJson, errorResponses, HealthView, NodeView } from '../views.js'

export const nodeRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (app, options, done) => {
  const { context } = options
  const { version, startedAt } = context
  app.get(
    '/v1/health',
    {
      schema: {
        summary: 'Is the node able to work?',
        tags: ['node'],
        response: { 200: HealthView, 503: HealthView },
      },
    },
    async (_, reply) => {
      const { status, body } = readHealth(context)
      return reply.code(status).send(body)
    },
  )
  app.get(
    '/v1/node',
    {
      schema: {
        summary: 'Identity, addresses, table sizes and datapath counters',
        tags: ['node'],
        response: { 200: NodeView, ...errorResponses },
      },
    },
    () => {
      const { config } = context
      const sizes = context.node.tables.sizes()
      const counters = context.datapath?.counters()
      return {
        node: config.node,
        roles: [...context.node.snapshot().roles],
        version,
        startedAt: startedAt.toISOString(),
        uptimeSeconds: uptimeSeconds(startedAt),
        processId: process.pid,
        problems: [...context.problems()],
        rlocs: config.rlocs.map(({ address, interface: name }) => ({ address, interface: name })),
        siteInterfaces: config.siteInterfaces.map(({ name, instanceId }) => ({ name, instanceId })),
        mapServers: config.mapServers.map(({ address }) => address),
        mapResolvers: config.mapResolvers,
        entries: {
          mapCache: sizes.mapCache,
          mappingDatabase: sizes.mappingDatabase,
          registrations: sizes.registrations,
          subscriptions: sizes.subscriptions,
          moves: sizes.moves,
        },
        ...(counters === undefined ? {} : { datapath: asJson(counters) }),
        ...(context.groupPackets === undefined
          ? {}
          : { groupPackets: asJson(context.groupPackets()) }),
      }
    },
  )
  done()
}
