/** `/v1/queries`: ask the mapping system for an EID, as `lig` does (RFC 6835). Changes no table. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { formatEidText } from '../../config/address-text.js'
import { type RouteOptions, runCommand } from '../context.js'
import { readEid } from '../selection.js'
import { errorResponses } from '../views.js'

export const queryRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (app, options, done) => {
  const { context } = options
  app.post(
    '/v1/queries',
    {
      schema: {
        summary: 'Send a Map-Request for an EID and return the answer',
        tags: ['queries'],
        body: Type.Object(
          {
            eid: Type.String(),
            instanceId: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffff })),
          },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object({
            eid: Type.String(),
            tookMs: Type.Number(),
            result: Type.Unknown({ description: 'What the mapping system answered' }),
          }),
          ...errorResponses,
        },
      },
    },
    async ({ body }) => {
      const eid = readEid(body.eid, body.instanceId, 'body.eid')
      const start = performance.now()
      const value = await runCommand(context, { kind: 'query-mapping', eid })
      const tookMs = Math.round((performance.now() - start) * 10) / 10
      return { eid: formatEidText(eid), tookMs, result: plainJson(value) }
    },
  )
  done()
}

/** 64-bit counters and nonces have no place in JSON as numbers: they become text. */
function plainJson(value: unknown): unknown {
  const text = JSON.stringify(value ?? null, (_, inner: unknown) =>
    typeof inner === 'bigint' ? inner.toString() : inner,
  )
  return JSON.parse(text) as unknown
}
