/** The key `record`: whether and where a daemon keeps what its node is told and decides. */
import { Type } from './schema-builder.js'

export const RecordConfig = Type.Object(
  {
    directory: Type.Optional(
      Type.String({ description: 'Default /var/lib/godwit/<node>/journal; mode 0700' }),
    ),
    maximumBytes: Type.Integer({
      minimum: 1 << 20,
      maximum: 2 ** 40,
      default: 256 << 20,
      description: 'All journals together; the oldest go first',
    }),
  },
  {
    additionalProperties: false,
    description:
      'Write every input of the node and a hash of its decisions to journals, for "godwit replay"; ' +
      'record: {} turns it on. A journal contains no keys, but every control message in full. When ' +
      'one has a quarter of maximumBytes, the node is made anew from store and maps, as at a reload',
  },
)
