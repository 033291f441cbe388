import { coreOn } from '../../vitest.legs.js'

const { HOLDFAST_TEST_DB: db = 'postgres', HOLDFAST_TEST_KYSELY: kysely = '0.28.19' } = process.env

export default coreOn({ db, kysely })
