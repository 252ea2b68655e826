/**
 * The keys of a configuration for LISP-SEC (RFC 9303): which modes there are, and with which pre-shared
 * keys one-time keys are wrapped on each part of their way. What must hold between them is checked in
 * security-checks.ts.
 */
import { Type } from './schema-builder.js'
import { AddressText, closed } from './schema-terms.js'

const SECURITY_MODES = ['off', 'offer', 'require'] as const
export type SecurityMode = (typeof SECURITY_MODES)[number]

/** In the order of their IANA numbers, from 1 (RFC 9303 §8.4). */
export const KEY_WRAPPINGS = ['null-key-wrap-128', 'aes-key-wrap-128'] as const

/** A pre-shared key that wraps one-time keys. */
const WrappingKeyConfig = Type.Object(
  {
    id: Type.Integer({ minimum: 0, maximum: 255, default: 0, description: 'Key ID on the wire' }),
    secretFile: Type.String({
      description: 'File that holds the secret, as that of every other key',
    }),
    wrapping: Type.Enum(KEY_WRAPPINGS, {
      default: 'aes-key-wrap-128',
      description: 'null-key-wrap-128 sends one-time keys in clear; only with pathIsSecured',
    }),
    pathIsSecured: Type.Boolean({
      default: false,
      description:
        'All datagrams to and from this peer are encrypted by something else (a DTLS tunnel, IPsec)',
    }),
  },
  closed,
)

const WrappingKeys = (description: string) =>
  Type.Array(WrappingKeyConfig, { default: [], maxItems: 64, description })

/** As an ITR, Map-Resolver or Map-Server. */
export const SecurityConfig = Type.Object(
  {
    mode: Type.Enum(SECURITY_MODES, {
      default: 'off',
      description:
        'offer: an ITR asks with LISP-SEC first and plainly where that finds no answer; require: it ' +
        'believes no other answer, and a Map-Resolver or Map-Server answers no other request',
    }),
    mapResolvers: Type.Array(
      Type.Object({ address: AddressText, key: WrappingKeyConfig }, closed),
      { default: [], description: 'ITR: the key shared with each of its Map-Resolvers' },
    ),
    requesterKeys: WrappingKeys(
      'Map-Resolver: keys shared with ITRs; Map-Server: keys shared with Map-Resolvers on other nodes',
    ),
    mapServers: Type.Array(
      Type.Object({ address: Type.Optional(AddressText), key: WrappingKeyConfig }, closed),
      {
        default: [],
        description:
          'Map-Resolver: the key shared with Map-Servers on other nodes; without address: with any',
      },
    ),
  },
  { ...closed, default: {}, description: 'Protected answers to Map-Requests (LISP-SEC, RFC 9303)' },
)

const STRICT_MODES = ['offer', 'require'] as const

/** As an ETR, beside a Map-Server. */
export const EtrSecurityConfig = Type.Object(
  {
    mode: Type.Enum(STRICT_MODES, {
      default: 'offer',
      description: 'require: Map-Requests without LISP-SEC are not answered (probes are)',
    }),
    keys: Type.Array(WrappingKeyConfig, {
      minItems: 1,
      maxItems: 8,
      description: 'Shared with this Map-Server; any of them opens. Never the key of an ITR',
    }),
  },
  { ...closed, description: 'We sign Map-Replies (S bit, RFC 9303); missing: we do not' },
)

/** As a Map-Server, of a site. */
export const SiteSecurityConfig = Type.Object(
  {
    mode: Type.Enum(STRICT_MODES, {
      default: 'offer',
      description: 'require: of this site only requests with LISP-SEC are answered',
    }),
    key: WrappingKeyConfig,
  },
  { ...closed, description: 'Shared with the ETRs of the site that sign Map-Replies (RFC 9303)' },
)
