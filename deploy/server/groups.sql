-- The groups of a database, whose members are the users that the secret server makes. Run by psql with the variables readonly, readwrite
-- and admin, the names of the groups; it may be run again at any time. It prints a digest of all rights before and after.

\set ON_ERROR_STOP on
-- What the groups may do in this database.
PREPARE rights AS
WITH named AS (SELECT oid FROM pg_roles WHERE rolname IN (:'readonly', :'readwrite', :'admin'))
SELECT md5(concat(
    (SELECT string_agg(oid::text, ' ' ORDER BY oid) FROM named),
    (SELECT string_agg(concat(roleid, ' ', member), ' ' ORDER BY roleid, member) FROM pg_auth_members WHERE member IN (TABLE named)),
    (SELECT datacl FROM pg_database WHERE datname = current_database()),
    (SELECT nspacl FROM pg_namespace WHERE nspname = 'public'),
    (SELECT string_agg(concat(relname, relacl), ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace),
    (SELECT string_agg(concat(defaclobjtype, defaclacl), ' ' ORDER BY defaclobjtype) FROM pg_default_acl WHERE defaclrole IN (TABLE named))
));

-- Two of these at once would get in each other's way.
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('squire groups')) \g /dev/null
EXECUTE rights;

SELECT format('CREATE ROLE %I NOLOGIN', name) FROM (VALUES (:'readonly'), (:'readwrite'), (:'admin')) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

SET LOCAL client_min_messages = error;   -- that somebody is a member already is no news
GRANT :"readonly" TO :"readwrite";
GRANT :"readwrite" TO :"admin";
GRANT CONNECT ON DATABASE :"DBNAME" TO :"readonly";
GRANT USAGE ON SCHEMA public TO :"readonly";
GRANT CREATE ON SCHEMA public TO :"admin";

-- What is there,
GRANT SELECT ON ALL TABLES IN SCHEMA public TO :"readonly";
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"readwrite";
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO :"readwrite";
GRANT ALL ON ALL TABLES IN SCHEMA public TO :"admin";

-- and what the group admin makes later: its members act as the group, so that what they made does not go with them.
ALTER DEFAULT PRIVILEGES FOR ROLE :"admin" IN SCHEMA public GRANT SELECT ON TABLES TO :"readonly";
ALTER DEFAULT PRIVILEGES FOR ROLE :"admin" IN SCHEMA public GRANT INSERT, UPDATE, DELETE ON TABLES TO :"readwrite";
ALTER DEFAULT PRIVILEGES FOR ROLE :"admin" IN SCHEMA public GRANT USAGE ON SEQUENCES TO :"readwrite";

EXECUTE rights;
COMMIT;
