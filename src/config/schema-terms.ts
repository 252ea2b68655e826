/** Terms that several parts of the configuration schema share. */
import { Type } from './schema-builder.js'

/** Unknown keys are errors. */
export const closed = { additionalProperties: false }

export const AddressText = Type.String({ description: 'An IPv4 or IPv6 address' })
export const PrefixText = Type.String({ description: 'An IPv4 or IPv6 prefix, as 10.1.0.0/16' })
export const InstanceId = Type.Integer({
  minimum: 0,
  maximum: 0xffffff,
  default: 0,
  description: 'Instance-ID, 24 bits: separates tenants with overlapping addresses (RFC 9300 §8)',
})
