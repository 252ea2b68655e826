/**
 * How a configuration refers to a key: its number on the wire, its algorithm, the file of its secret.
 * The secret itself never stands in a configuration.
 */
import { Type } from './schema-builder.js'
import { closed } from './schema-terms.js'

export const ALGORITHMS = ['hmac-sha-1-96', 'hmac-sha-256-128', 'hmac-sha256-128+hkdf'] as const

/** A key as a configuration refers to it. */
export const Key = Type.Object(
  {
    id: Type.Integer({ minimum: 0, maximum: 255, default: 0, description: 'Key ID on the wire' }),
    algorithm: Type.Enum(ALGORITHMS, {
      default: 'hmac-sha256-128+hkdf',
      description: 'Algorithm 1, 2 or 3 of RFC 9301 §12.5',
    }),
    secretFile: Type.String({
      description:
        'File that holds the secret; white space around it is ignored; a relative path starts at the directory of this file',
    }),
  },
  closed,
)
