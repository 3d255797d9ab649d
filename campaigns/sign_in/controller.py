"""Sign-in over HTTP: staff by password, customers by a code sent to their phone."""

from litestar import Controller, post
from litestar.params import JSONBody

from campaigns.auth import PUBLIC, route
from campaigns.given import TheCodes, TheDb, ThePasswords, ThePhones, TheSettings, TheTokens
from campaigns.sign_in import service
from campaigns.sign_in.schemas import CodeIn, CodeSent, PhoneIn, SessionOut, StaffIn
from engine.ids import now_ms
from engine.tokens import Role


class SignInController(Controller):
    """Answers do not tell whether a login or a number is known."""

    path = "/v1/sign-in"
    tags = ("sign-in",)

    @post(
        "/staff",
        **route(
            PUBLIC,
            "Sign in at HQ, or as a guide",
            {401: "Wrong login or password (`wrong_login`)."},
            status_code=200,
        ),
    )
    async def staff(
        self,
        data: JSONBody[StaffIn],
        db: TheDb,
        passwords: ThePasswords,
        tokens: TheTokens,
        settings: TheSettings,
    ) -> SessionOut:
        """A wrong login takes as long as a wrong password. A guide's token is for that guide."""
        staff = await service.sign_in_staff(db, passwords, data.login, data.password)
        assert staff.role in ("hq", "guide")
        role: Role = "hq" if staff.role == "hq" else "guide"
        expires_at_ms = now_ms() + settings.token_ttl_ms
        # A guide may only ever be that guide: their id is the token's scope.
        guide_id = staff.guide_id if role == "guide" else None
        return SessionOut(
            access_token=tokens.sign(
                staff.id, role, scope=guide_id or "", expires_at_ms=expires_at_ms
            ),
            expires_at_ms=expires_at_ms,
            role=role,
            subject=staff.id,
            name=staff.name,
            guide_id=guide_id,
        )

    @post(
        "/customer/code",
        **route(
            PUBLIC,
            "Send a sign-in code to a phone",
            {429: "Too many codes for this number (`too_many_codes`)."},
            status_code=202,
        ),
    )
    async def code(
        self, data: JSONBody[PhoneIn], codes: TheCodes, settings: TheSettings
    ) -> CodeSent:
        """The same answer for every number."""
        code = await service.send_code(codes, data.phone)
        return CodeSent(valid_ms=settings.code_ttl_ms, sandbox_code=code)

    @post(
        "/customer",
        **route(
            PUBLIC,
            "Sign in as a customer",
            {401: "Wrong or used-up code (`wrong_code`)."},
            status_code=200,
        ),
    )
    async def customer(
        self,
        data: JSONBody[CodeIn],
        db: TheDb,
        codes: TheCodes,
        phones: ThePhones,
        tokens: TheTokens,
        settings: TheSettings,
    ) -> SessionOut:
        """A number we do not know yet becomes a member."""
        signed_in = await service.sign_in_customer(db, codes, phones, data.phone, data.code)
        expires_at_ms = now_ms() + settings.token_ttl_ms
        member = signed_in.member
        token = tokens.sign(
            member.id,
            "customer",
            expires_at_ms=expires_at_ms,
            new=signed_in.new,
            traits=signed_in.traits,
        )
        return SessionOut(
            access_token=token,
            expires_at_ms=expires_at_ms,
            role="customer",
            subject=member.id,
            name=member.nickname,
            joined=signed_in.joined,
        )
