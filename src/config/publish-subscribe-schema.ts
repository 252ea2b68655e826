/**
 * The keys of a configuration for publish/subscribe (RFC 9437), on both sides.
 */
import { Key } from './key-schema.js'
import { Type } from './schema-builder.js'
import { AddressText, closed, InstanceId, PrefixText } from './schema-terms.js'

const Configured = (description: string) =>
  Type.Array(
    Type.Object(
      {
        prefix: PrefixText,
        instanceId: InstanceId,
        nonce: Type.Integer({
          minimum: 0,
          maximum: Number.MAX_SAFE_INTEGER,
          description: 'The same on both sides; publications begin with the next',
        }),
      },
      closed,
    ),
    { default: [], maxItems: 65_536, description },
  )

/** As an xTR. */
export const PublishSubscribeConfig = Type.Object(
  {
    subscribe: Type.Boolean({
      default: true,
      description:
        'Ask for mappings with the N bit (RFC 9437) and follow what the Map-Server publishes; where it does not, plain requests do',
    }),
    acceptUnsolicited: Type.Boolean({
      default: false,
      description: 'Follow authenticated publications for cached mappings that were not asked for',
    }),
    configured: Configured(
      'What Map-Servers publish to this xTR without being asked (their subscriptions.subscribers)',
    ),
  },
  { ...closed, default: {} },
)

/** As a Map-Server or Map-Resolver. */
export const SubscriptionsConfig = Type.Object(
  {
    accept: Type.Boolean({
      default: true,
      description: 'Take subscriptions (RFC 9437) of xTRs that have registered or are listed',
    }),
    subscribers: Type.Array(
      Type.Object(
        {
          xtrId: Type.String({ pattern: '^[0-9a-f]{32}$' }),
          siteId: Type.Optional(Type.Integer({ minimum: 0, description: 'Its Site-ID' })),
          rlocs: Type.Array(AddressText, {
            minItems: 1,
            description: 'Its RLOCs: where it may ask from and be told',
          }),
          key: Type.Optional(Key),
          configured: Configured('Published to it without being asked; needs key'),
        },
        closed,
      ),
      {
        default: [],
        description: 'Only these xTRs may subscribe; empty: any that has registered here',
      },
    ),
    mapResolvers: Type.Array(AddressText, {
      default: [],
      description:
        'Other Map-Resolvers that check who subscribes (RFC 9437 §1.1); that of this node does',
    }),
    maximum: Type.Integer({
      minimum: 16,
      maximum: 10_000_000,
      default: 1_000_000,
      description: 'Subscriptions in all',
    }),
    maximumPerXtr: Type.Integer({
      minimum: 1,
      maximum: 10_000_000,
      default: 65_536,
      description: 'Subscriptions of one xTR; beyond it requests are answered plainly',
    }),
    lifetimeSeconds: Type.Integer({
      minimum: 60,
      maximum: 2_592_000,
      default: 86_400,
      description: 'A subscription not renewed is forgotten',
    }),
    temporarySeconds: Type.Integer({
      minimum: 10,
      maximum: 86_400,
      default: 900,
      description: 'The same for an EID that nobody registers (RFC 9437 §5)',
    }),
  },
  { ...closed, default: {} },
)
