import { legUrl } from '@holdfast/chaos'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { testAdapter } from '../src/index.js'
import { memoryTests } from './support/memory-queue.js'

testAdapter(
  { describe, it, beforeAll, afterAll },
  { ...memoryTests('the reference adapter'), databases: [legUrl()] },
)
