/**
 * The keys of a configuration for EIDs that are names (RFC 9735) or places (RFC 10040): what a site may
 * register, and what is given out of it.
 */
import { Type } from './schema-builder.js'
import { closed, InstanceId } from './schema-terms.js'

const GEO_ANSWERS = ['none', 'areas', 'all'] as const
export type GeoAnswers = (typeof GEO_ANSWERS)[number]

export const NamesConfig = Type.Array(
  Type.Object(
    {
      use: Type.String({
        pattern: '^[a-z0-9][a-z0-9-]*$',
        description:
          'What the names are for, kebab-case: each use has an instance-ID of its own (RFC 9735 §6)',
      }),
      instanceId: InstanceId,
      prefix: Type.String({
        maxLength: 254,
        default: '',
        description: 'What the names begin with; empty: any name of this instance-ID',
      }),
    },
    closed,
  ),
  { default: [], description: 'Names that it may register' },
)

export const GeoConfig = Type.Object(
  {
    instanceId: InstanceId,
    answers: Type.Enum(GEO_ANSWERS, {
      default: 'none',
      description:
        'What Map-Replies and publications in its name say of where it is: nothing, geo-prefixes only, or geo-points too (RFC 10040 §9)',
    }),
  },
  { ...closed, description: 'Places that it may register' },
)
