/**
 * `/v1/mapping-database`: the EID-prefixes and EIDs this ETR answers for, configured or added here.
 */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { formatEidPrefixText } from '../../config/address-text.js'
import { Type } from '../../config/schema-builder.js'
import { type RouteOptions, runCommand } from '../context.js'
import { pageBeside, pageFields, readEidPrefix, readQuery, SelectionQuery } from '../selection.js'
import { asJson, errorResponses, MappingDatabaseEntry } from '../views.js'
import { withCounters } from './map-cache.js'

export const mappingDatabaseRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (
  app,
  options,
  done,
) => {
  const { context } = options
  app.get(
    '/v1/mapping-database',
    {
      schema: {
        summary: 'Own EID-prefixes and dynamic EIDs',
        tags: ['tables'],
        querystring: SelectionQuery,
        response: {
          200: Type.Object({
            ...pageFields,
            mappingDatabase: Type.Array(MappingDatabaseEntry),
          }),
          ...errorResponses,
        },
      },
    },
    ({ query }) => {
      const page = context.node.tables.mappingDatabase(readQuery(query))
      return {
        ...pageBeside(page),
        mappingDatabase: withCounters(context, 'local-eid', page.entries).map(asJson),
      }
    },
  )
  app.post(
    '/v1/mapping-database',
    {
      schema: {
        summary: 'Add an EID or EID-prefix that lives here now',
        tags: ['tables'],
        body: Type.Object(
          {
            eidPrefix: Type.String({ description: 'An EID-prefix, or an EID for its host prefix' }),
            instanceId: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffff })),
            interfaceName: Type.String({ minLength: 1, maxLength: 15 }),
          },
          { additionalProperties: false },
        ),
        response: {
          201: Type.Object({ eidPrefix: Type.String(), interfaceName: Type.String() }),
          ...errorResponses,
        },
      },
    },
    async ({ body }, reply) => {
      const { interfaceName } = body
      const eidPrefix = readEidPrefix(body.eidPrefix, body.instanceId, 'body.eidPrefix')
      await runCommand(context, { kind: 'add-eid', eidPrefix, interfaceName })
      return reply.code(201).send({ eidPrefix: formatEidPrefixText(eidPrefix), interfaceName })
    },
  )
  app.delete(
    '/v1/mapping-database/:prefix',
    {
      schema: {
        summary: 'Remove an EID or EID-prefix and withdraw its registration',
        tags: ['tables'],
        params: Type.Object({
          prefix: Type.String({ description: 'Percent-encoded, as 10.1.0.5%2F32' }),
        }),
        querystring: Type.Object({ instanceId: Type.Optional(Type.Integer({ minimum: 0 })) }),
        response: { 204: Type.Null(), ...errorResponses },
      },
    },
    async ({ params, query }, reply) => {
      const eidPrefix = readEidPrefix(params.prefix, query.instanceId, 'path.prefix')
      await runCommand(context, { kind: 'remove-eid', eidPrefix })
      return reply.code(204).send(null)
    },
  )
  done()
}
