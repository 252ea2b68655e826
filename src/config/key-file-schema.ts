/**
 * The schema of a key file; what it is for says key-file.ts.
 */
import { Key } from './key-schema.js'
import { Type } from './schema-builder.js'

export const KeyFileSchema = Type.Object({
  keys: Type.Array(
    Type.Object(
      {
        id: Key.properties.id,
        algorithm: Key.properties.algorithm,
        secretFile: Type.Optional(Key.properties.secretFile),
        secret: Type.Optional(Type.String({ minLength: 1, description: 'The secret itself' })),
      },
      { additionalProperties: false },
    ),
  ),
})
