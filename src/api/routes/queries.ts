/** `/v1/queries`: ask the mapping system for an EID, as `lig` does (RFC 6835). Changes no table. */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { formatAddressText, formatEidPrefixText, formatEidText } from '../../config/address-text.js'
import { Type } from '../../config/schema-builder.js'
import type { IpAddress } from '../../lisp/address.js'
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

/**
 * The answer as plain JSON, whether the node gave views or values: addresses, prefixes and bytes
 * become canonical text, and so do 64-bit numbers, which JSON numbers cannot carry.
 */
function plainJson(value: unknown): unknown {
  const text = JSON.stringify(value ?? null, (_, inner: unknown) => {
    if (typeof inner === 'bigint') return inner.toString()
    if (inner instanceof Uint8Array) return Buffer.from(inner).toString('hex')
    if (typeof inner !== 'object' || inner === null) return inner
    if ('address' in inner && 'instanceId' in inner && isAddress(inner.address)) {
      const eid = { instanceId: Number(inner.instanceId), address: inner.address }
      if (!('maskLength' in inner)) return formatEidText(eid)
      return formatEidPrefixText({ ...eid, maskLength: Number(inner.maskLength) })
    }
    return isAddress(inner) ? formatAddressText(inner) : inner
  })
  return JSON.parse(text) as unknown
}

function isAddress(value: unknown): value is IpAddress {
  return (
    typeof value === 'object' &&
    value !== null &&
    'bytes' in value &&
    value.bytes instanceof Uint8Array &&
    'family' in value &&
    (value.family === 4 || value.family === 6)
  )
}
